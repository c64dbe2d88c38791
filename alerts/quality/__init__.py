"""How good the alarms are: figures from the journal of their signals, and from what people thought of them. Pure."""
