"""Old doors of the data that existing programs import."""
