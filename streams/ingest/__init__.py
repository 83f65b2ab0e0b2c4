"""The ways in: what comes over HTTP is cut, judged and recorded in the log; what was refused is put back."""
