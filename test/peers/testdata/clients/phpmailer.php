<?php
// Composes and sends a message with PHPMailer:
// HOST PORT CA TEXT ATTACHMENT RECIPIENTS MODE MECHANISM USER SECRET; CA and
// ATTACHMENT may be empty, and MECHANISM for a client that says nothing of who it is.
require '/usr/share/php/libphp-phpmailer/src/Exception.php';
require '/usr/share/php/libphp-phpmailer/src/OAuthTokenProvider.php';
require '/usr/share/php/libphp-phpmailer/src/SMTP.php';
require '/usr/share/php/libphp-phpmailer/src/PHPMailer.php';

/** A token that the program has already. */
class Token implements PHPMailer\PHPMailer\OAuthTokenProvider
{
    public function __construct(private string $user, private string $token)
    {
    }

    public function getOauth64()
    {
        return base64_encode("user={$this->user}\1auth=Bearer {$this->token}\1\1");
    }
}

[, $host, $port, $ca, $text, $attachment, $recipients, $mode, $mechanism, $user, $secret] = $argv;
$m = new PHPMailer\PHPMailer\PHPMailer(true);
$m->isSMTP();
$m->Host = $host;
$m->Port = (int)$port;
$m->CharSet = 'UTF-8';
if ($ca) {
    $m->SMTPSecure = $mode === 'implicit' ? 'ssl' : 'tls';
    $m->SMTPOptions = ['ssl' => ['cafile' => $ca]];
}
if ($mechanism) {
    $m->SMTPDebug = 2;
    $m->SMTPAuth = true;
    $m->AuthType = $mechanism;
    if ($mechanism === 'XOAUTH2') {
        $m->setOAuth(new Token($user, $secret));
    } else {
        $m->Username = $user;
        $m->Password = $secret;
    }
}
$m->setFrom('sender@example.org', 'Jörg');
foreach (preg_split('/\s+/', trim(file_get_contents($recipients))) as $to) {
    $m->addBCC($to);
}
$m->Subject = 'Grüße';
$m->Body = file_get_contents($text);
if ($attachment) {
    $m->addAttachment($attachment, 'attachment.bin');
}
$m->send();
