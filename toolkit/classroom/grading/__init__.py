"""Grading a folder of notebooks: each in a sandbox of its own, checked from outside it.

    command -> supervisor (``run``) -> a judge for each notebook (``judge``) -> a sandbox
    (``sandbox``, ``inside``), and back: replies, events, one record a student (``gradebook``)

The supervisor reads no notebook and no reply: whatever a notebook does to its judge costs only
that notebook. ``book/grading.md`` documents the protocol.
"""
