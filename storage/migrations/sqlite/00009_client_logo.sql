-- clients.logo: the PNG that data names by its hash; empty = none.
-- +goose Up
ALTER TABLE clients ADD COLUMN logo BLOB NOT NULL DEFAULT x'';

-- +goose Down
ALTER TABLE clients DROP COLUMN logo;
