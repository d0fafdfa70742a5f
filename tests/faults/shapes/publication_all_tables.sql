-- A publication of all tables, which takes a superuser
-- refused: not-restorable, other-credentials
-- names: everything
-- part: superuser
CREATE PUBLICATION everything FOR ALL TABLES;
