"""The contract as data: one folder per event, one Avro file per version. See README.md here."""
