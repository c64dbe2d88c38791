"""Alerts as signed HTTP POSTs. `docs/delivery-channels.md` has the receiver's side."""
