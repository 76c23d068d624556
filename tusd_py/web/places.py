"""Where among the URLs of a server each of its parts is, and that no part hides another."""

from __future__ import annotations

from itertools import combinations


def path_of_tree(path: str) -> str:
    """A path with one slash at its start, its end, and between its segments."""
    return "/".join(["", *filter(None, path.split("/")), ""])


def check_places(base_path: str, api_path: str, metrics_path: str | None, health_path: str | None) -> None:
    """Raises ValueError where one part would never be asked because of another.

    Trees end with a slash here. A tree at the root is no trouble: whatever else there is wins over the ids in it.
    """
    trees = {name: path for name, path in (("base_path", base_path), ("api_path", api_path)) if path}
    pages = {name: path for name, path in (("metrics_path", metrics_path), ("health_path", health_path)) if path}
    if api_path and (base_path.startswith(api_path) or (base_path != "/" and api_path.startswith(base_path))):
        raise ValueError(f"base_path {base_path} and api_path {api_path} hide one another")
    for (name, path), (other, same) in combinations(pages.items(), 2):
        if path == same:
            raise ValueError(f"{name} and {other} are both {path}")
    for page, path in pages.items():
        for tree, root in trees.items():
            if root != "/" and (path + "/").startswith(root):
                raise ValueError(f"{page} {path} hides what is in {tree} {root}")
