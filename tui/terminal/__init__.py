"""The terminal: the driver that sends only what differs, the clipboard, and whether the link keeps up."""
