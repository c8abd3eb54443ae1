"""The tables of the key store. What stands in them, and what never does, is said in ``subject_keys.py``."""

from typing import Any, ClassVar

from sqlalchemy import BigInteger
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The tables of the key store."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {int: BigInteger}


class State(Base):
    """One row about the store itself."""

    __tablename__ = "subject_keys_state"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    generation: Mapped[int]
    pepper_check: Mapped[str]


class SubjectKey(Base):
    """A person's key in one of their lives, found by hash."""

    __tablename__ = "subject_keys"

    subject_hash: Mapped[str] = mapped_column(primary_key=True)
    life: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[bytes | None]
    created_at_ms: Mapped[int]
    destroyed_at_ms: Mapped[int | None]
    pseudonym: Mapped[str | None]
