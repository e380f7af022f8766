<?php
// Composes and sends a message with PHPMailer:
// HOST PORT CA TEXT ATTACHMENT RECIPIENTS; CA and ATTACHMENT may be empty.
require '/usr/share/php/libphp-phpmailer/src/Exception.php';
require '/usr/share/php/libphp-phpmailer/src/SMTP.php';
require '/usr/share/php/libphp-phpmailer/src/PHPMailer.php';

[, $host, $port, $ca, $text, $attachment, $recipients] = $argv;
$m = new PHPMailer\PHPMailer\PHPMailer(true);
$m->isSMTP();
$m->Host = $host;
$m->Port = (int)$port;
$m->CharSet = 'UTF-8';
if ($ca) {
    $m->SMTPSecure = 'tls';
    $m->SMTPOptions = ['ssl' => ['cafile' => $ca]];
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
