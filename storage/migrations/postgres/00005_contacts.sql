-- people.phone: blind index of the ID-verified number, by which an operator's event finds its owners; one zero byte = none, empty = written
-- by an older program and not looked at yet.
-- +goose Up
ALTER TABLE people ADD COLUMN phone BYTEA NOT NULL DEFAULT '';
CREATE INDEX people_phone ON people (phone);

-- partner_requests: what a partner's machine asked for, once for each of its transactions. Retention: 90 days
CREATE TABLE partner_requests (
    client TEXT COLLATE "C" NOT NULL,
    transaction_id BYTEA NOT NULL,
    digest BYTEA NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (client, transaction_id)
);
CREATE INDEX partner_requests_at ON partner_requests (at);

-- +goose Down
DROP TABLE partner_requests;
DROP INDEX people_phone;
ALTER TABLE people DROP COLUMN phone;
