"""What every stage may use: errors, files, the clock, the contract, the study. It imports no stage."""
