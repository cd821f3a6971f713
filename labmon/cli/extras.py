"""What comes with an extra of the package, and may be missing."""

from importlib.util import find_spec

from labmon.errors import UsageError


def require_dashboard() -> None:
    """Raises UsageError, which says what to install, where the packages of the dashboard are missing."""
    for name in ("fastapi", "uvicorn", "jinja2"):
        if find_spec(name) is None:
            raise UsageError(f"the dashboard needs {name}. Install it with: pip install 'labmon[dashboard]'")
