"""Alembic's revisions of the warehouse. Each is frozen: it says its tables itself and reads no schema."""
