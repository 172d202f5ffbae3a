"""One end of a link: the session and its parts. Must never know: tasks, sockets, time."""
