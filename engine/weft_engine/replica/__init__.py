"""A replica: one open store and who writes in it. Ties journal, events and views together."""
