"""CTC Lens: train CTC recognisers, transcribe, and see how every letter came about."""
