"""The y-websocket dialect: any Yjs client in a context of Weft. docs/PROTOCOL.md has its rules."""
