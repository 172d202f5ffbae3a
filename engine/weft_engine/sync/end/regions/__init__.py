"""What only two regions need of one end of a link. Must never know: tasks, sockets, time."""
