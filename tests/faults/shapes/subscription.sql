-- A subscription, which takes a superuser
-- refused: not-restorable, other-credentials
-- names: feed
-- part: superuser
CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 dbname=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE);
