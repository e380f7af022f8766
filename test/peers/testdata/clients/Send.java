import java.io.FileInputStream;
import java.nio.file.*;
import java.util.Properties;
import javax.mail.*;
import javax.mail.internet.*;

/** Sends a message with JavaMail: HOST PORT CA MESSAGE RECIPIENTS; CA is empty without TLS. */
public class Send {
    public static void main(String[] a) throws Exception {
        Properties p = new Properties();
        p.put("mail.smtp.from", "sender@example.org");
        p.put("mail.smtp.allow8bitmime", "true");
        if (!a[2].isEmpty()) {
            p.put("mail.smtp.starttls.required", "true");
            p.put("mail.smtp.ssl.trust", a[0]);
        }
        Session s = Session.getInstance(p);
        String[] to = Files.readString(Path.of(a[4])).trim().split("\\s+");
        Address[] list = new Address[to.length];
        for (int i = 0; i < to.length; i++) list[i] = new InternetAddress(to[i]);
        try (Transport t = s.getTransport("smtp")) {
            t.connect(a[0], Integer.parseInt(a[1]), null, null);
            t.sendMessage(new MimeMessage(s, new FileInputStream(a[3])), list);
        }
    }
}
