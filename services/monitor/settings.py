"""What the monitor is told by its environment. What it watches for stands in the model project, under ``monitors:``."""

from millrace.contracts.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of the monitor: those of every service."""
