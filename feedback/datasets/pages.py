"""The pages above releases: they make a folder above a release mean one release, for people and for loaders.

They name what is there and are not part of a release, so they may be written again at any time: after each
release, and by the next list or release where that one was killed in between.
"""

from __future__ import annotations

import contextlib

from feedback.datasets.card import PAGE_ABOVE_ALL, page_above_releases
from feedback.datasets.catalogue import manifest, versions
from feedback.datasets.errors import ShelfUnreachable
from feedback.datasets.shelf.port import Shelf


def put_pages(shelf: Shelf, dataset: str) -> None:
    """Write the page above a dataset's releases, and the one above all where there is none.

    Whoever may only read the shelf, or loses it at that moment, leaves them to the next one; a release whose
    manifest says too little has none.
    """
    there = versions(shelf, dataset)
    if not there:
        return
    with contextlib.suppress(OSError, ShelfUnreachable, KeyError):
        text = page_above_releases(manifest(shelf, dataset, there[-1]))
        if shelf.page(dataset) != text:
            shelf.put_page(dataset, text)
        # A folder that was there before may have a page of its own.
        if shelf.page(None) is None:
            shelf.put_page(None, PAGE_ABOVE_ALL)
