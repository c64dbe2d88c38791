"""The ward console: who needs attention, why, and since when."""
