-- A prepared transaction that was there before
-- refused: not-restorable, unready, prepared-transactions
-- names: before the release
-- settings: RELEASE_TIME_LIMIT=400
CREATE TABLE held (n integer);
BEGIN;
INSERT INTO held VALUES (1);
PREPARE TRANSACTION 'before the release';
