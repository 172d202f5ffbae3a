"""``weft demo``: two devices work offline, meet at a relay that is killed, and agree."""
