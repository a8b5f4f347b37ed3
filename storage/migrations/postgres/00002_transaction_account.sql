-- Whose sign-in a transaction is, in the clear as in sessions and grants: so that the account comes along in the same read.
-- +goose Up
ALTER TABLE signin_transactions ADD COLUMN account_id TEXT COLLATE "C" NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE signin_transactions DROP COLUMN account_id;
