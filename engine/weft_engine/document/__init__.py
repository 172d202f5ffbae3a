"""Contexts as Yjs documents, for notes, streams and foreign peers. Loaded only when needed."""
