"""What goes over a link: messages, and the frames that carry them. Must never know: sessions."""
