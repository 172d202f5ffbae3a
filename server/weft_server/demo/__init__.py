"""``weft demo``: three regions and two devices, a network that breaks, a region that dies; all
agree in the end."""
