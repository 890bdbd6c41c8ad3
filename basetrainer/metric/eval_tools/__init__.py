"""Old doors of evaluation that existing programs import."""
