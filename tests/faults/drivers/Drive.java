import java.io.StringReader;
import java.net.URI;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.Properties;
import org.postgresql.PGConnection;

/** A migration by the JDBC driver: `Drive.java JDBC SITUATION OWN`, as drive.py beside it does by Python's drivers. */
class Drive {
  static final String INSERT = "INSERT INTO learners (name) VALUES ";

  public static void main(String[] arguments) throws Exception {
    var url = URI.create(System.getenv("DATABASE_URL"));
    var who = url.getUserInfo().split(":");
    var given = new Properties();
    given.setProperty("user", who[0]);
    given.setProperty("password", who[1]);
    given.setProperty("sslmode", "disable");
    try (var connection = DriverManager.getConnection(
        "jdbc:postgresql://" + url.getHost() + ":" + url.getPort() + url.getPath(), given)) {
      migrate(connection, arguments[1].equals("migrates"));
    }
  }

  static void migrate(Connection connection, boolean lands) throws Exception {
    connection.setAutoCommit(false);
    try (var statement = connection.createStatement()) {
      statement.execute("CREATE TABLE made (n integer PRIMARY KEY, name text)");
      statement.execute("ALTER TABLE learners ADD COLUMN nickname text");
      statement.execute(INSERT + "('new')");
      prepared(connection);
      connection.unwrap(PGConnection.class).getCopyAPI()
          .copyIn("COPY learners (name) FROM STDIN", new StringReader("copied 1\ncopied 2\n"));
      fails(connection, statement);
      if (lands) connection.commit(); else connection.rollback();
      connection.setAutoCommit(true);
      statement.executeQuery("SELECT name FROM learners").close();
      if (lands) statement.execute(INSERT + "('by itself')");
    }
  }

  /** Often enough to be prepared on the server, and then many at once. */
  static void prepared(Connection connection) throws SQLException {
    try (var statement = connection.prepareStatement(INSERT + "(?)")) {
      for (int n = 0; n < 6; n++) {
        statement.setString(1, "prepared " + n);
        statement.executeUpdate();
      }
      for (int n = 0; n < 3; n++) {
        statement.setString(1, "pipelined " + n);
        statement.addBatch();
      }
      statement.executeBatch();
    }
  }

  static void fails(Connection connection, Statement statement) throws SQLException {
    Savepoint savepoint = connection.setSavepoint("one");
    try {
      statement.execute("SELECT 1 / 0");
      throw new AssertionError();
    } catch (SQLException expected) {
      connection.rollback(savepoint);
    }
  }
}
