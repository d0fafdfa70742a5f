-- A prepared transaction that was there before
-- refused: not-restorable, unready, prepared-transactions
-- names: before the release
CREATE TABLE held (n integer);
BEGIN;
INSERT INTO held VALUES (1);
PREPARE TRANSACTION 'before the release';
