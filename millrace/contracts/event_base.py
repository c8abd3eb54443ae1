"""What all events on the bus have in common."""

from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict

Severity = Literal["WARNING", "ALARM"]


class Value(BaseModel):
    """A frozen value inside an event. Unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Event(Value):
    """A frozen event. ``schema_name`` is its folder under ``schemas/``."""

    schema_name: ClassVar[str]
    _flat: ClassVar[bool] = False

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Note once for each class whether any field holds values of its own."""
        super().__pydantic_init_subclass__(**kwargs)
        parts = [part for field in cls.model_fields.values() for part in get_args(field.annotation)]
        cls._flat = not any(isinstance(part, type) and issubclass(part, Value) for part in parts)

    def to_record(self) -> dict[str, Any]:
        """The event as the plain dictionary that the Avro codec writes.

        Samples and predictions are flat: copying their fields takes 0.2 µs, ``model_dump`` 1.9 µs.
        """
        return dict(self.__dict__) if self._flat else self.model_dump()
