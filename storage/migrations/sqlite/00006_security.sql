-- +goose Up
-- notices: what a person was told of, as shown in their own pages; token is the hash of the link in the e-mail by which they say that
-- it was not them. Retention: 1 year
CREATE TABLE notices (
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    key TEXT NOT NULL,
    data BLOB NOT NULL,
    read_at INTEGER NOT NULL,
    token BLOB,
    token_until INTEGER NOT NULL,
    token_used_at INTEGER NOT NULL,
    PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX notices_of ON notices (account_id, at);
CREATE INDEX notices_at ON notices (at);
CREATE UNIQUE INDEX notices_token ON notices (token);

-- first factors that the person closed, or opened where they are closed for everybody else
ALTER TABLE accounts ADD COLUMN closed_firsts TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE accounts DROP COLUMN closed_firsts;
DROP TABLE notices;
