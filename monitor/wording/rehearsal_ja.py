"""What happens in a rehearsal, in Japanese."""

REHEARSAL: dict[str, str] = {
    "rehearsal.begins": "シナリオ{scenario}: {domain}を{old}から{new}へ移します。所要時間は約{length}。",
    "rehearsal.attach": "別の端末で見るには: mxcutover attach {journal}",
    "rehearsal.ends": "予行演習は終わりました: {verdict}",
    "rehearsal.report": "報告書とジャーナル: {directory}",
    "rehearsal.let-go": "旧サーバがドメインをローカル扱いするのをやめ、受け取ったメールを新サーバへ転送します。",
    "rehearsal.change-mx": "プライマリのネームサーバでMXを切り替え、切替を宣言しました。",
    "rehearsal.secondary-catches-up": "セカンダリのネームサーバが新しいゾーンを取り込みました。",
    "rehearsal.user-moves": "carolのメールソフトの送信サーバを新サーバに変えました。",
    "rehearsal.copy": "旧サーバにしかないメールを新サーバへコピーしました。",
    "rehearsal.cut-off": "リゾルバ{subject}がネームサーバに届かなくなり、手持ちの答えを返し続けます。",
    "rehearsal.reconnect": "リゾルバ{subject}が再びネームサーバに届くようになりました。",
    "rehearsal.mailbox-full": "新サーバの{subject}のメールボックスが満杯で、受信を拒否しています。",
    "rehearsal.waive-lost": "満杯の間に拒否されたメールを個別に除外します。送信者には連絡済みです。",
    "rehearsal.waived": "メールボックスが満杯の間に拒否。送信者に連絡済み",
    "rehearsal.mailbox-mended": "新サーバの{subject}のメールボックスが再び受信できるようになりました。",
}
