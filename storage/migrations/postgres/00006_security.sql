-- +goose Up
-- notices: what a person was told of, as shown in their own pages; token is the hash of the link in the e-mail by which they say that
-- it was not them. Retention: 1 year
CREATE TABLE notices (
    id TEXT COLLATE "C" NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    data BYTEA NOT NULL,
    read_at BIGINT NOT NULL,
    token BYTEA,
    token_until BIGINT NOT NULL,
    token_used_at BIGINT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX notices_of ON notices (account_id, at);
CREATE INDEX notices_at ON notices (at);
CREATE UNIQUE INDEX notices_token ON notices (token);

-- first factors that the person closed, or opened where they are closed for everybody else
ALTER TABLE accounts ADD COLUMN closed_firsts TEXT COLLATE "C" NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE accounts DROP COLUMN closed_firsts;
DROP TABLE notices;
