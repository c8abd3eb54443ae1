#!/bin/sh
# Runs once, when the volume is empty: a database and a user of its own for the schema registry, and a database for the
# keys of persons: unlike the registry's projection it cannot be rebuilt, and its backups must expire.
set -eu
psql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set ON_ERROR_STOP=1 --set password="$SCHEMAS_PASSWORD" <<'SQL'
CREATE ROLE schemas LOGIN PASSWORD :'password';
CREATE DATABASE schemas OWNER schemas;
CREATE DATABASE subject_keys;
SQL
