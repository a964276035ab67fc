"""`research-assistant doctor`: one module for each kind of thing that it looks at."""

from research_gateway.cli.doctor.command import doctor_command, examine
from research_gateway.cli.doctor.finding import Finding

__all__ = ["Finding", "doctor_command", "examine"]
