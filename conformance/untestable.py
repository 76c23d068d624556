"""Requirements that no test from outside can look at, with the reason; all others have a test."""

from __future__ import annotations

UNTESTABLE: dict[str, tuple[str, str]] = {
    "CORE-11": ("must", "Needs an upload that was made by other means than this protocol."),
    "CORE-33": ("may", "Leaves the server free; what it does send is looked at in CORE-08 and CORE-09."),
    "CRE-17": ("may", "Leaves the server free to use, ignore or refuse metadata."),
    "CRE-19": ("should", "For clients: once an upload is created, its data goes the way of the core protocol."),
    "CRE-20": (
        "implied",
        "The address of an upload whose 201 was lost is not known outside; that is what expiration is for.",
    ),
    "CWU-04": ("should", "The address of an upload whose POST broke off is not known outside."),
    "EXP-09": ("implied", "Whether expired uploads leave the disk is not visible outside."),
    "TRM-03": ("should", "Whether a removed upload leaves the disk is not visible outside."),
    "CAT-04": ("should", "What a server does with finished uploads, and so not with parts, is not visible outside."),
    "X-01": ("implied", "Needs an upload that is held by a request which nothing can interrupt."),
    "X-02": ("implied", "Needs a storage that fails for a while."),
}
