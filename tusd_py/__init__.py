"""A resumable-upload server: tus 1.0, drop-in for tusd, embeddable in any ASGI application."""

from tusd_py.app import create_app
from tusd_py.version import __version__
from tusd_py.web.lifespan import lifespan

__all__ = ["__version__", "create_app", "lifespan"]
