-- clients.logo: the PNG that data names by its hash; empty = none.
-- +goose Up
ALTER TABLE clients ADD COLUMN logo BYTEA NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE clients DROP COLUMN logo;
