"""Commands from people: checked, sent to topic `commands`, on the command line and over HTTP alike."""
