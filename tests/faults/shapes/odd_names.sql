-- Names with spaces, quotes, dots, percent signs, comment signs, other scripts, and 63 bytes
CREATE SCHEMA "Sché ma";
CREATE TABLE "Sché ma"."a ""b'';--" ("c %s {x}" text, "d.e" integer, "SELECT" integer DEFAULT 1, "$1" text);
INSERT INTO "Sché ma"."a ""b'';--" VALUES ('\\.', 1), (E'a\tb\nc\\', 2);
CREATE TABLE "таблица" ("столбец" integer PRIMARY KEY);
INSERT INTO "таблица" VALUES (1);
CREATE TABLE "x23456789012345678901234567890123456789012345678901234567890123" ("y23456789012345678901234567890123456789012345678901234567890123" serial);
CREATE INDEX "i % -- ' """ ON "таблица" ("столбец");
CREATE FUNCTION "f (x)"("a b" integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE VIEW "user" AS SELECT 1 AS "order", 2 AS "100%";
CREATE TYPE "my type" AS ENUM ('a b', 'c''d');
