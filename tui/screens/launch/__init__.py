"""The Launch screen: the form as plain data, how it is drawn, and the preview of a training file."""
