"""What the parts of BioTwin say to each other: records, topics, identities, units, configuration, metric names.

Pure data and pure functions; nothing here touches the network, the disk or a clock, except that the registry and
defaults shipped beside the code are read once, as package data.
"""
