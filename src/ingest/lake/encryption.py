"""With which key a lake's files are encrypted, and whether all are: `lake/_encryption/state.json`."""

from __future__ import annotations

import msgspec

from ingest._core.errors import Terminal
from ingest._core.places import Place, cipher_of, names, read, remove, write
from ingest._core.study import Study
from ingest.lake.parquet import encrypts
from ingest.lake.store import MANIFESTS

_FOLDER = "_encryption"
COMMAND = "`ingest encryption` rewrites them"


class Encryption(msgspec.Struct, frozen=True):
    """`key_id` tells the key and tells nothing of it; `whole`: no file stands in the clear."""

    key_id: str
    whole: bool


def encryption_of(lake: Place) -> Encryption | None:
    """What a lake says of its encryption; None where no file of it is encrypted."""
    data = read(_path(lake)).data
    return None if data is None else msgspec.json.decode(data, type=Encryption)


def begin_writing(lake: Place) -> None:
    """Have the lake say of its encryption what will hold of files that are written from now on.

    Raises Terminal where its files are encrypted with another key than the study's, before anything is made with that.
    """
    path, cipher = _path(lake), cipher_of(lake)
    if cipher is None:
        return
    # Asked before: whoever commits a manifest has said what holds, so that none of theirs is taken for one of before.
    empty = cipher.encrypts and not names(lake / MANIFESTS)
    held = read(path)
    said = None if held.data is None else msgspec.json.decode(held.data, type=Encryption)
    if said is None and not cipher.encrypts:
        return
    check_key(lake)
    now = Encryption(cipher.key_id(), cipher.encrypts and (empty if said is None else said.whole))
    if now != said:
        write(path, msgspec.json.encode(now, order="sorted"), held)


def check_key(lake: Place) -> None:
    """Raises Terminal where the lake's files are encrypted with another key than the study's."""
    cipher, said = cipher_of(lake), encryption_of(lake)
    if cipher is not None and said is not None and said.key_id != cipher.key_id():
        raise Terminal(
            f"the files of lake/ are encrypted with the key {said.key_id}, and that of identity/key is "
            f"{cipher.key_id()}; bring back the lake or the key that belong together, nothing was changed"
        )


def done(lake: Place) -> None:
    """Have the lake say that all its files are as `lake_encryption` has them."""
    held, cipher = read(_path(lake)), cipher_of(lake)
    if cipher is None or not encrypts(lake):
        remove(_path(lake))
    else:
        write(_path(lake), msgspec.json.encode(Encryption(cipher.key_id(), True), order="sorted"), held)


def mixed(study: Study) -> str | None:
    """What to do where files of the lake are not as study.yaml has them; None where all are."""
    said = encryption_of(study.lake)
    if study.settings.lake_encryption:
        if (said is None or not said.whole) and names(study.lake / MANIFESTS):
            return f"lake_encryption is on, and files of the lake from before stand in the clear; {COMMAND}"
    elif said is not None:
        return f"lake_encryption is off, and files of the lake from before are encrypted; {COMMAND}"
    return None


def _path(lake: Place) -> Place:
    return lake / _FOLDER / "state.json"
