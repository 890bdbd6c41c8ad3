"""Old doors of converters that existing programs import."""
