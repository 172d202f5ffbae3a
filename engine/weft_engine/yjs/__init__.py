"""Yjs v1 updates as bytes: read before anything else touches them, written without a document.

Must never know: records, events, documents, the CRDT's rules for merging.
"""
