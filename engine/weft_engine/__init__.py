"""The core of Weft: records, journal, documents, events, views, sync sessions. No sockets."""
