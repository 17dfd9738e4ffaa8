"""Whatever the order and grouping in which participants are published, the warehouse ends the same."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.publish.warehouse import publish
from publish.small_lake import NOW, Content, expected, people, put, study_at, warehouse_rows
from tries import tries

contents = st.builds(
    Content,
    participant_id=st.sampled_from(["pa", "pb", "pc"]),
    nights=st.integers(1, 2),
    variant=st.integers(0, 1),
)


@cache
def mould(content):
    """A lake with this participant alone, to copy from."""
    study = study_at(Path(tempfile.mkdtemp()))
    put(study, content)
    return study


def place(study, content):
    for old in study.lake.glob(f"*/participant_id={content.participant_id}"):
        shutil.rmtree(old)
    shutil.copytree(mould(content).lake, study.lake, dirs_exist_ok=True)


@settings(max_examples=tries(4), deadline=None)
@given(steps=st.lists(st.lists(contents, min_size=1, max_size=2), min_size=1, max_size=4))
def test_any_sequence_of_publications_ends_as_one_publication_of_the_last_state(steps):
    with tempfile.TemporaryDirectory() as folder:
        study, state = study_at(Path(folder)), {}
        for step in steps:
            before = dict(state)
            for content in step:
                place(study, content)
                state[content.participant_id] = content
            done = publish(study, people(*state.values()), NOW)
            assert done.published == sorted(i for i in state if state[i] != before.get(i))
        assert warehouse_rows(study.warehouse) == expected(state.values())
