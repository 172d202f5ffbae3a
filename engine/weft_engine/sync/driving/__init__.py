"""What drives sessions: links, their hub, what keeps them up. Must never know: sockets."""
